"use strict";

// Every sentence of the page, in both languages. {name} is filled in.
const WORDS = {
  en: {
    purpose: "Cuts people out of photographs",
    language: "Language",
    theme: "Light or dark",
    try: "Try it with a photo",
    keyless: "No key is needed here, because this page was opened on the server’s own machine. The photo goes to this server only, and is not stored.",
    keyed: "The photo goes to this server only, and is not stored. Key and secret are kept in this page until it is closed or reloaded, and nowhere else.",
    key: "API key",
    secret: "API secret",
    drop: "Drop a photo here, paste it, or click to choose one",
    formats: "JPG or PNG, up to 2 MB and 4096 pixels per side; larger photos are shrunk in this browser first",
    photo: "Photo",
    cutout: "Cutout",
    mask: "Mask",
    saveCutout: "Download cutout",
    saveMask: "Download mask",
    programs: "Use it from programs",
    api: "This server speaks the HumanBody Segment API V2. Any client of that API works with it once its address is changed:",
    pairPrinted: "Programs need a key pair: the server printed one when it started. Put it into the variables HBSEG_API_KEY and HBSEG_API_SECRET.",
    pairFile: "Programs need a key pair of the server’s keys file. Put it into the variables HBSEG_API_KEY and HBSEG_API_SECRET.",
    folders: "Whole folders:",
    copy: "Copy",
    copied: "Copied",
    selected: "Selected",
    health: "Health",
    metrics: "Metrics",
    engine: "Embedded engine, models",
    preparing: "Reading {name}",
    working: "Cutting out {name}",
    oneAtATime: "One photo at a time: only {name} is processed.",
    shrunk: "This photo was too large or of another format, so this browser sent it as a JPG of {width} × {height} pixels.",
    sure: "sure",
    sureMore: "The outline is clear.",
    doubtful: "doubtful",
    doubtfulMore: "Part of the outline is unsure: look at hair, hands and edges.",
    nobody: "nobody found",
    nobodyMore: "No person was found in this photo, so the cutout is empty.",
    size: "Size",
    sizeIs: "{width} × {height} pixels",
    coverage: "Coverage",
    doubt: "Doubt",
    code: "Code",
    time: "Time",
    seconds: "{seconds} s",
    pairMissing: "Enter an API key and its secret first.",
    notAPhoto: "{name} is not a photo that this browser can read. Use a JPG or PNG.",
    unreachable: "The server did not answer. Check that hbseg serve is still running, then try again.",
    unexpected: "The server’s answer was not understood (status {status}). A proxy may have changed it; try again.",
    errors: {
      IMAGE_ERROR_UNSUPPORTED_FORMAT: "The file is damaged, or is not a JPG or PNG. Use another one.",
      INVALID_IMAGE_SIZE: "Each side of a photo must have {min} to {max} pixels. Use a larger photo.",
      INVALID_IMAGE_URL: "The photo’s address cannot be fetched. Check it.",
      IMAGE_FILE_TOO_LARGE: "The photo has more than 2 MB. Use a smaller one.",
      IMAGE_DOWNLOAD_TIMEOUT: "The photo’s own server is slow. Try again later.",
      AUTHENTICATION_ERROR: "Key and secret do not match. Check both.",
      AUTHORIZATION_ERROR: "The server does not allow this: {parameter}.",
      CONCURRENCY_LIMIT_EXCEEDED: "The server is busy, or the key’s quota is used up for now. Wait a moment and try again.",
      MISSING_ARGUMENTS: "Something is missing: {parameter}. Enter a key and its secret, and choose a photo.",
      BAD_ARGUMENTS: "The server did not understand the request: {parameter}. Reload the page and try again.",
      COEXISTENCE_ARGUMENTS: "The server got two photos at once. Reload the page and try again.",
      "Request Entity Too Large": "The photo has more than 2 MB. Use a smaller one.",
      API_NOT_FOUND: "This address does not offer the API. Reload the page and try again.",
      INTERNAL_ERROR: "The server failed on this photo. Try again; if it happens again, its log says why.",
    },
  },
  zh: {
    purpose: "把照片中的人物抠出来",
    language: "语言",
    theme: "浅色或深色",
    try: "用一张照片试试",
    keyless: "这里不需要密钥，因为本页面是在服务器所在的机器上打开的。照片只发送到这台服务器，不会被保存。",
    keyed: "照片只发送到这台服务器，不会被保存。密钥只保留在本页面中，关闭或刷新页面后即清除，不会存到任何地方。",
    key: "API Key",
    secret: "API Secret",
    drop: "把照片拖到这里、粘贴，或点击选择",
    formats: "JPG 或 PNG，不超过 2 MB，每边不超过 4096 像素；更大的照片会先在浏览器中缩小",
    photo: "原图",
    cutout: "抠图",
    mask: "蒙版",
    saveCutout: "下载抠图",
    saveMask: "下载蒙版",
    programs: "在程序中使用",
    api: "本服务器提供人体抠像 API（HumanBody Segment API V2）。使用该 API 的客户端只需更换地址即可：",
    pairPrinted: "程序调用需要一对密钥：服务器启动时已打印出来。请把它们放入环境变量 HBSEG_API_KEY 和 HBSEG_API_SECRET。",
    pairFile: "程序调用需要服务器密钥文件中的一对密钥。请把它们放入环境变量 HBSEG_API_KEY 和 HBSEG_API_SECRET。",
    folders: "处理整个文件夹：",
    copy: "复制",
    copied: "已复制",
    selected: "已选中",
    health: "运行状态",
    metrics: "指标",
    engine: "内置引擎，模型",
    preparing: "正在读取 {name}",
    working: "正在抠图 {name}",
    oneAtATime: "一次只处理一张照片：只处理 {name}。",
    shrunk: "这张照片过大或格式不同，浏览器已将它转换为 {width} × {height} 像素的 JPG 后发送。",
    sure: "可靠",
    sureMore: "轮廓清晰。",
    doubtful: "存疑",
    doubtfulMore: "部分轮廓不确定：请检查头发、手和边缘。",
    nobody: "未发现人物",
    nobodyMore: "照片中没有发现人物，因此抠图为空。",
    size: "尺寸",
    sizeIs: "{width} × {height} 像素",
    coverage: "占画面比例",
    doubt: "存疑度",
    code: "代码",
    time: "用时",
    seconds: "{seconds} 秒",
    pairMissing: "请先输入 API Key 和 API Secret。",
    notAPhoto: "{name} 不是浏览器能读取的照片。请使用 JPG 或 PNG。",
    unreachable: "服务器没有响应。请确认 hbseg serve 仍在运行，然后重试。",
    unexpected: "无法理解服务器的响应（状态码 {status}）。可能被代理修改，请重试。",
    errors: {
      IMAGE_ERROR_UNSUPPORTED_FORMAT: "文件已损坏，或不是 JPG 或 PNG。请换一张。",
      INVALID_IMAGE_SIZE: "照片每边必须为 {min} 至 {max} 像素。请使用更大的照片。",
      INVALID_IMAGE_URL: "无法获取照片的地址。请检查。",
      IMAGE_FILE_TOO_LARGE: "照片超过 2 MB。请使用更小的照片。",
      IMAGE_DOWNLOAD_TIMEOUT: "照片所在的服务器太慢。请稍后重试。",
      AUTHENTICATION_ERROR: "API Key 与 API Secret 不匹配。请检查。",
      AUTHORIZATION_ERROR: "服务器不允许此操作：{parameter}。",
      CONCURRENCY_LIMIT_EXCEEDED: "服务器正忙，或密钥的配额暂时用完。请稍等片刻再试。",
      MISSING_ARGUMENTS: "缺少内容：{parameter}。请输入密钥并选择照片。",
      BAD_ARGUMENTS: "服务器无法理解请求：{parameter}。请刷新页面后重试。",
      COEXISTENCE_ARGUMENTS: "服务器同时收到了两张照片。请刷新页面后重试。",
      "Request Entity Too Large": "照片超过 2 MB。请使用更小的照片。",
      API_NOT_FOUND: "此地址不提供该 API。请刷新页面后重试。",
      INTERNAL_ERROR: "服务器处理这张照片时出错。请重试；若再次出现，请查看服务器日志。",
    },
  },
};

const TAGS = { en: "en", zh: "zh-CN" };
let language = "en";

/** A sentence in the page's language, with its {names} filled in. */
function say(name, values = {}) {
  const text = WORDS[language][name] ?? WORDS[language].errors[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
}

/** The language that was chosen before, or the browser's own. */
function preferredLanguage() {
  const wanted = [remembered("language"), ...navigator.languages].map((tag) => (tag ?? "").slice(0, 2));
  return wanted.find((tag) => Object.hasOwn(WORDS, tag)) ?? "en";
}

// What looks are chosen is remembered; a browser may forbid it.
function remembered(name) {
  try {
    return localStorage.getItem(`hbseg-${name}`);
  } catch {
    return null;
  }
}

function remember(name, value) {
  try {
    localStorage.setItem(`hbseg-${name}`, value);
  } catch {
    // It holds until the page is closed.
  }
}

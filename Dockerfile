# hbseg with the embedded engine and all optional readers. docs/container.md says how to use it.
ARG PYTHON=3.14

FROM python:${PYTHON}-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY humanbody_cli humanbody_cli
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --no-deps --wheel-dir /wheels .
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/hbseg \
    && wheel="$(echo /wheels/hbseg-*.whl)" \
    && pip --python /opt/hbseg/bin/python install "hbseg[local,soft,fit,fast,watch,serve] @ file://${wheel}"

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="hbseg" \
      org.opencontainers.image.description="Cuts people out of photographs, whole folders at a time" \
      org.opencontainers.image.source="https://github.com/hbseg/hbseg" \
      org.opencontainers.image.licenses="MIT AND Apache-2.0"
COPY --from=build /opt/hbseg /opt/hbseg
# HOME: a user given with --user has none, and the quota of a key is shared in a file below it.
ENV PATH=/opt/hbseg/bin:$PATH \
    HOME=/tmp
WORKDIR /data
# By number, so that no file of users is needed and --user takes any other.
USER 10001:10001
# No HEALTHCHECK: most commands end by themselves. docs/container.md has one for hbseg serve.
ENTRYPOINT ["hbseg"]
CMD ["--help"]

# The images of Gantry, a target each: gateway, gateway-embedded, torchserve, training, batch.
#
#   docker build --target gateway-embedded --tag gantry/gateway-embedded .
#   docker run --read-only --tmpfs /tmp --cap-drop ALL -p 127.0.0.1:50051:50051 -e GANTRY_INSECURE=true \
#     gantry/gateway-embedded
#
# Each runs as uid 10001, without capabilities, on a read-only root file system. It writes under /tmp, TorchServe under
# /var/lib/torchserve too. Models lie in /models. No image has a compiler, so all graphs run eagerly.

# Any Debian 12 with Python 3.11 and its venv module. To pin it harder, give a digest:
# --build-arg BASE_IMAGE=python:3.11.14-slim-bookworm@sha256:…
ARG BASE_IMAGE=python:3.11.14-slim-bookworm


FROM ${BASE_IMAGE} AS builder
# Where torch comes from; for CUDA, the index of a CUDA version, such as https://download.pytorch.org/whl/cu130.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
# Pip stays outside the environment that it fills, so no image has it there. It compiles nothing, and takes the versions
# of constraints.txt, for what builds Gantry's own wheel too.
ENV PATH=/opt/pip/bin:${PATH} \
    PIP_BUILD_CONSTRAINT=/build/constraints.txt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_EXTRA_INDEX_URL=${TORCH_INDEX_URL} \
    PIP_ONLY_BINARY=:all: \
    PIP_PYTHON=/opt/venv/bin/python
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/venv
WORKDIR /build
COPY constraints.txt LICENSE pyproject.toml README.md ./
COPY protos/gen protos/gen
COPY services services
COPY training training

FROM builder AS gateway-venv
RUN --mount=type=cache,target=/root/.cache/pip pip install --constraint constraints.txt .

FROM builder AS gateway-embedded-venv
RUN --mount=type=cache,target=/root/.cache/pip pip install --constraint constraints.txt '.[batch,embedded]'

FROM builder AS torchserve-venv
RUN --mount=type=cache,target=/root/.cache/pip pip install --constraint constraints.txt '.[torchserve]'

FROM builder AS training-venv
RUN --mount=type=cache,target=/root/.cache/pip pip install --constraint constraints.txt '.[training]'

FROM builder AS batch-venv
RUN --mount=type=cache,target=/root/.cache/pip pip install --constraint constraints.txt '.[batch]'


FROM ${BASE_IMAGE} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.vendor="Gantry" \
      org.opencontainers.image.version="${VERSION}"
# Nothing is to be written beside the code, and only /tmp is sure to be writable.
ENV HOME=/tmp \
    PATH=/opt/venv/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN groupadd --gid 10001 gantry \
    && useradd --uid 10001 --gid gantry --home-dir /tmp --no-create-home --shell /usr/sbin/nologin gantry
WORKDIR /app
STOPSIGNAL SIGTERM
USER 10001:10001


FROM runtime AS gateway
LABEL org.opencontainers.image.title="gantry-gateway" \
      org.opencontainers.image.description="Gantry's gRPC gateway to a TorchServe; without torch"
ENV GANTRY_BACKEND=torchserve \
    GANTRY_MODEL_STORE=/models
COPY --from=gateway-venv /opt/venv /opt/venv
EXPOSE 50051 9464
ENTRYPOINT ["gantry"]
CMD ["serve"]

FROM runtime AS gateway-embedded
LABEL org.opencontainers.image.title="gantry-gateway-embedded" \
      org.opencontainers.image.description="Gantry's gRPC gateway with torch in its own process, and the shipped models"
ENV GANTRY_BACKEND=embedded \
    GANTRY_MODEL_STORE=/models
COPY --from=gateway-embedded-venv /opt/venv /opt/venv
COPY model_store/*.mar /models/
EXPOSE 50051 9464
ENTRYPOINT ["gantry"]
CMD ["serve"]

FROM runtime AS torchserve
LABEL org.opencontainers.image.title="gantry-torchserve" \
      org.opencontainers.image.description="TorchServe for Gantry's archives, to stand behind a gateway"
USER 0:0
# Debian keeps only the newest build of a package, so an exact version would soon not be found. Java 17 is what counts.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=10001 --group=10001 /var/lib/torchserve \
    && install --directory /models
USER 10001:10001
# What config.properties leaves open, and the JVM's heap. Opened to other pods, GANTRY_TORCHSERVE_HOST is 0.0.0.0.
ENV GANTRY_TORCHSERVE_HOST=127.0.0.1 \
    GANTRY_TORCHSERVE_MESSAGE_BYTES=67108864 \
    GANTRY_TORCHSERVE_METRICS_HOST=127.0.0.1 \
    GANTRY_TORCHSERVE_WORKERS=1 \
    JDK_JAVA_OPTIONS=-Xmx512m \
    OMP_NUM_THREADS=1
COPY services/backends/torchserve_image/ /app/
COPY --from=torchserve-venv /opt/venv /opt/venv
EXPOSE 7070 8082
# TorchServe's own launcher does not pass on the signal that ends a container, so its Java part is started as it is.
ENTRYPOINT ["java", \
    "-Dmodel_server_home=/opt/venv/lib/python3.11/site-packages", \
    "-Dlog4j.configurationFile=file:///app/log4j2.xml", \
    "-Djava.io.tmpdir=/var/lib/torchserve", \
    "-cp", "/opt/venv/lib/python3.11/site-packages/ts/frontend/*", \
    "org.pytorch.serve.ModelServer", \
    "--python", "/opt/venv/bin/python", \
    "--ts-config-file", "/app/config.properties", \
    "--no-config-snapshot"]

FROM runtime AS training
LABEL org.opencontainers.image.title="gantry-training" \
      org.opencontainers.image.description="Trains and evaluates GANs, and packs them into archives"
COPY --from=training-venv /opt/venv /opt/venv
ENTRYPOINT ["gantry"]
CMD ["train", "--help"]

FROM runtime AS batch
LABEL org.opencontainers.image.title="gantry-batch" \
      org.opencontainers.image.description="Translates and samples by the thousand, from and to object stores"
COPY --from=batch-venv /opt/venv /opt/venv
ENTRYPOINT ["gantry"]
CMD ["batch", "--help"]

# The service: not as root, and with nothing to write but /data and /tmp. compose.yaml beside it has a store in PostgreSQL.
#
#     docker build --tag flanrec .
#
# The Python is the one that the tests run with.
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Where torch comes from; PyTorch's own index of CPU wheels makes the image several gigabytes smaller.
ARG TORCH_INDEX=""
WORKDIR /source
RUN python -m venv /opt/flanrec
COPY constraints.txt ./
# torch comes first and pinned: its plain name draws a CUDA build of several gigabytes.
RUN /opt/flanrec/bin/pip install --constraint constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN /opt/flanrec/bin/pip install --constraint constraints.txt '.[fast,serve,postgresql]'

FROM python:3.11-slim
# LightGBM and the tensor libraries are linked against it.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/flanrec /opt/flanrec
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin flanrec \
  && install --directory --owner=flanrec --group=flanrec --mode=700 /data
USER 10001:10001
WORKDIR /tmp
ENV PATH=/opt/flanrec/bin:$PATH PYTHONDONTWRITEBYTECODE=1 HOME=/tmp FLANREC_CACHE=/tmp/flanrec HF_HUB_OFFLINE=1
VOLUME /data
EXPOSE 8000
# http.client, because urllib would ask a proxy of the environment.
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=3 \
  CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["flanrec"]
# Beyond the container's own loopback interface keys are needed; docs/serving.md says how the first one is made.
CMD ["serve", "--host=0.0.0.0", "--port=8000", "--model=/models/current", "--models=/models", "--store=/data/store.db"]

# The device's part of edgetl, for amd64 and arm64. See docs/containers.md.
#   docker build -t edgetl .
#   docker buildx build --platform linux/amd64,linux/arm64 -t edgetl .
FROM python:3.13-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY edgetl edgetl
COPY converters converters
COPY device device
RUN python -m venv /opt/edgetl && /opt/edgetl/bin/pip install --no-cache-dir '.[device,serve,https,mqtt,photos]'

FROM python:3.13-slim-bookworm
# the group video owns /dev/video0
RUN useradd --create-home --uid 1000 --groups video edgetl && install -d -o edgetl -g edgetl /data
COPY --from=build /opt/edgetl /opt/edgetl
ENV PATH=/opt/edgetl/bin:$PATH PYTHONUNBUFFERED=1
USER 1000
WORKDIR /data
VOLUME /data
EXPOSE 8080
# the page itself needs no sign-in
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8080, timeout=4); c.request('GET', '/'); exit(c.getresponse().status >= 400)"]
ENTRYPOINT ["edgetl"]
CMD ["serve", "/data/base.tflite", "--host", "0.0.0.0"]

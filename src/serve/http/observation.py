"""What Prometheus is told."""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # in the environment of several processes: where they count, by which all are told

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Observation:
    """The service's counters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.latency = Histogram(
            "anyo_request_seconds",
            "from the request's head to the answer's",
            ["path"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.answers = Counter("anyo_answers", "answers by status", ["path", "status"], registry=self.registry)
        self.batch = Histogram(
            "anyo_batch_requests",
            "requests that were ranked together",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=self.registry,
        )
        self.waiting = Gauge(
            "anyo_waiting_requests",
            "requests that wait to be ranked",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.by = Counter("anyo_recommendations", "answers by what they go by", ["by"], registry=self.registry)
        self.events = Counter("anyo_events", "events stored", registry=self.registry)
        self.models = Counter("anyo_model_changes", "models taken over or refused", ["outcome"], registry=self.registry)
        self.model = Gauge(
            "anyo_model_info",
            "1 for the model that answers, of several processes how many it answers in",
            ["model", "version"],
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._answers: tuple[str, str] | None = None

    def answers_with(self, model: str, version: str) -> None:
        """Notes which model answers from now on."""
        if self._answers is not None:
            self.model.labels(*self._answers).set(0)
        if FOLDER not in os.environ:  # where several processes count, nothing can be taken back
            self.model.clear()
        self._answers = (model, version)
        self.model.labels(model, version).set(1)

    def told(self) -> bytes:
        """Returns what is known as Prometheus reads it: where several processes serve, of all of them."""
        if FOLDER not in os.environ:
            return generate_latest(self.registry)
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)
        return generate_latest(everybody)

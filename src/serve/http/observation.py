"""What Prometheus is told."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

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
        self.waiting = Gauge("anyo_waiting_requests", "requests that wait to be ranked", registry=self.registry)
        self.by = Counter("anyo_recommendations", "answers by what they go by", ["by"], registry=self.registry)
        self.events = Counter("anyo_events", "events stored", registry=self.registry)
        self.models = Counter("anyo_model_changes", "models taken over or refused", ["outcome"], registry=self.registry)
        self.model = Gauge(
            "anyo_model_info", "1 for the model that answers", ["model", "version"], registry=self.registry
        )

    def answers_with(self, model: str, version: str) -> None:
        """Notes which model answers from now on."""
        self.model.clear()
        self.model.labels(model, version).set(1)

"""What RePlay is told of items, for those who measure it."""

from replay.data import FeatureHint, FeatureSource, FeatureType
from replay.data.nn import TensorFeatureInfo, TensorFeatureSource, TensorSchema


def schema_of(num_items: int, width: int) -> TensorSchema:
    """Returns the schema of histories of `num_items` items, whose vectors are `width` wide."""
    item = TensorFeatureInfo(
        "item_id",
        is_seq=True,
        feature_type=FeatureType.CATEGORICAL,
        feature_hint=FeatureHint.ITEM_ID,
        feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")],
        cardinality=num_items,
        padding_value=num_items,
        embedding_dim=width,
    )
    return TensorSchema([item])

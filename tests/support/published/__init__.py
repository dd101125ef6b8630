"""Published datasets, tiny, in exactly their layout, with every label that they hold."""

from tests.support.published import images, masks, objects, video, volumes
from tests.support.published.built import Built, labels_of, same_labels

__all__ = ["Built", "images", "labels_of", "masks", "objects", "same_labels", "video", "volumes"]

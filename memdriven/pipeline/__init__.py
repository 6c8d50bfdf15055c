"""From a caption to its picture: request, retrieval, painting."""

"""The HTTP edge: listeners, dispatch, authentication, problems."""

"""Settings of every suite in the workspace."""

from hypothesis import settings

# How long an example takes says more about the machine than about the code: no deadline.
settings.register_profile("okulo", deadline=None)
settings.load_profile("okulo")

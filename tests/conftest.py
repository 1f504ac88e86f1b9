"""Settings of all tests.

A test that uses hypothesis tries the same examples each time: what is red is red again. `pytest
--hypothesis-profile=explore` draws others each time, and ten times as many where a test does not say how many.
"""

from hypothesis import HealthCheck, settings

# No deadline: the first example of a test may compile a kernel or load a model. No check of how fast examples are
# drawn: it looks at the clock, and a machine may stand still for a moment.
settings.register_profile("gptmill", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", settings.get_profile("gptmill"), derandomize=False, max_examples=1000)
settings.load_profile("gptmill")

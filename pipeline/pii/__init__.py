"""Personal data: detectors, validators, replacement."""

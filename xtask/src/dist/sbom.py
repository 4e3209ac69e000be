"""Checks files against CycloneDX's schema of a version: VERSION FILE…"""

import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

version, *files = sys.argv[1:]
validator = JsonStrictValidator(SchemaVersion.from_version(version))
for file in files:
    with open(file, encoding="utf-8") as text:
        error = validator.validate_str(text.read())
    if error is not None:
        sys.exit(f"{file} does not fit CycloneDX {version}: {error}")

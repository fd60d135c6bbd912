"""Renders a Helm chart: a JSON document of `chart` and `cases` (values by name) on stdin, what came of it on stdout."""

import json
import sys

from helm_python import HelmError, chart

asked = json.load(sys.stdin)
answer = {"lint": chart.lint(asked["chart"], next(iter(asked["cases"].values())), strict=True), "cases": {}}
with chart.Chart.load(asked["chart"]) as loaded:
    for name, values in asked["cases"].items():
        try:
            rendered = loaded.render(values, name="gc", namespace="registry")
            texts = [text for path, text in sorted(rendered.items()) if path.endswith(".yaml") and text.strip()]
            answer["cases"][name] = {"manifests": "\n---\n".join(texts)}
        except HelmError as error:
            answer["cases"][name] = {"refused": str(error)}
json.dump(answer, sys.stdout)

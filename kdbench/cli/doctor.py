"""`kdbench doctor`: says whether this machine is ready to measure on."""

from dataclasses import asdict

from kdbench.cli import console
from kdbench.cli.options import Json


def doctor(json: Json = False) -> None:
    """Look at the host, the libraries, what bears on latencies, the energy counters and the data.

    Every line says ok, warn or missing, and what would mend it. With --json the result is {"findings": [...]}.

    Example: kdbench doctor
    """
    from kdbench.cli.checks import examine

    findings = []
    for finding in examine():
        findings.append(finding)
        if not json:
            console.result(f"{finding.state:<8} {finding.subject}: {finding.detail}")
            if finding.remedy:
                console.result(f"{'':<8}   → {finding.remedy}")
    if json:
        console.result_json({"findings": [asdict(finding) for finding in findings]})

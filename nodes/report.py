"""What a node tells the views on the canvas."""


def reported(name: str, report: dict) -> dict[str, list[list[dict]]]:
    """A `ui` value with one report.

    One list deeper than the host asks for: its list of jobs takes every record in the list itself for something that
    the job has made, and shows it among the pictures.
    """
    return {name: [[report]]}

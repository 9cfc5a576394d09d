"""Says above the login, on the console, which node this is."""

from pipeline.model import Entry, File, ResolvedNode, Text


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """A file of issue(5) beside what the system itself has there."""
    return (File("/etc/issue.d/metis.issue", (Text(f"Node {node.name}, of class {node.klass.name}\n"),)),)

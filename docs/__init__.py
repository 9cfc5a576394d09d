"""The documentation: pages for people, and what makes a site of them (`conf`)."""

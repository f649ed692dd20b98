"""A batch on several devices: a process for each, and one that assigns photos and reports."""

"""What people run: command line, steps, heads, heatmaps, report and viewer."""

"""What `edgetl bench` adds to the times of `device.system.bench`: tables, accuracy, layers, a page and other machines."""

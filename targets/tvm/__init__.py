"""CPUs through Apache TVM: compile for the profile's triple, link, read the memory plan, run."""

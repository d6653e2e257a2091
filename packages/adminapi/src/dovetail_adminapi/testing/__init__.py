"""For the test suites of projects: the matrix of permissions, and proofs that nothing is open."""

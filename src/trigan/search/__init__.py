"""Settings of strategies chosen by counted validation labels, with the test set sealed."""

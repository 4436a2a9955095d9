"""What several test folders share: builders, servers, videos."""

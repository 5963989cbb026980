"""What several tests need: servers, clients, pages, a PostgreSQL; and stories that are told in another process."""

"""The admin interface: pages as pure functions over an AdminContext, and the HTTP filter that serves them."""

"""Why a network scores a tile as it does: one method a file, and how far each can be trusted."""

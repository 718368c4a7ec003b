"""What people look at: sheets, heat maps, charts and tables of an edit. Pillow draws; the engine never comes here."""

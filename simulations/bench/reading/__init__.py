"""Reading whole photographs: our packs by power state, beside RapidOCR and Tesseract, in one run."""

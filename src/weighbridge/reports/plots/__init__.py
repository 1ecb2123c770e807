"""Pictures for papers and slides: PNG, SVG and PDF. A picture is one file here; `style` is what they share."""

"""What speech is made of, as functions of samples, words and tables: no models, no files, no stages."""

"""The programs that node agents start for engines that are Python libraries: speech and transcription."""

module lepton/boot-tests/pause

go 1.26.0

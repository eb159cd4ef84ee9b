.PHONY: rehearse

# Raise a staging VPS, run the database password rotation against it, and remove it again.
# KIND=docker|sandbox chooses how; the default takes docker where an engine answers.
rehearse:
	tests/staging/rehearse.sh $(KIND)

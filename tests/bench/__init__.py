"""What an edit costs (speed), how good it is (quality), and the judge that sees whether it is."""

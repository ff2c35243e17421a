"""Answering what is asked at one moment: functions of values, without a thread."""

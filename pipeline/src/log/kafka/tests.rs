//! The log on Kafka, on a real one.

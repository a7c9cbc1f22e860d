//! What `iaso demo` shows, and the patient program that its containers and the tests' run.

pub mod patient;

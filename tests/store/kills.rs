pub const WRITER: &str = "X";
pub fn write(_: &std::path::Path) -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
pub fn tests() -> Vec<libtest_mimic::Trial> {
    vec![]
}

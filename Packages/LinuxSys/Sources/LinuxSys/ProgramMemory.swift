internal import CLinuxSys

/// The memory of the program itself.
public enum ProgramMemory {
    /// Gives back pages that only start-up needed: the program's read-only segments (clean copies of the file; those still in use are mapped again on the
    /// next touch, in microseconds) and free heap. The kernel maps 16 pages around each fault, so start-up leaves several times what running needs.
    /// Once, when start-up is over. Any thread.
    public static func releaseStartupPages() { sys_release_program_pages() }
}

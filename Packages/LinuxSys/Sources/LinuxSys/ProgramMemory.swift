internal import CLinuxSys

/// The memory of the program itself.
public enum ProgramMemory {
    /// Makes the program's constants read-only, which the linker leaves writable (Scripts/sections.ld), so that they can be given back like code; and has all
    /// threads share one heap, since glibc would give each a heap of its own that stays resident. First of all, while there is one thread.
    public static func prepare() { sys_prepare_program_memory() }

    /// Cuts the code that is rarely used into small mappings, since the kernel maps 64 KiB around each fault, or as much as the page cache holds in one piece, but
    /// never across mappings. Nearly two hundred system calls, a quarter of a millisecond, for which no guest should have to wait while it boots: by whoever is
    /// about to use much of that code, and when the guest has booted. Only the first call does anything. Any thread.
    public static func limitFaultAround() { sys_limit_fault_around() }

    /// Gives back pages that only start-up needed: the program's code and constants (clean copies of the file; those still in use are mapped again on the
    /// next touch, in microseconds) and free heap. The kernel maps 16 pages around each fault, so a burst of work leaves several times what running needs.
    /// When start-up is over, and after later bursts. Any thread.
    public static func releaseStartupPages() {
        sys_release_program_pages()
        sys_release_stack()
    }

    /// Gives back what the calling thread's stack held below the caller, by a thread that has been deeper than it will be again.
    public static func releaseStack() { sys_release_stack() }
}

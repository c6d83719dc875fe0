public import MachineManager

// The one place that chooses an architecture.
#if arch(x86_64)
    typealias HostPlatform = X86Platform
#elseif arch(arm64)
    typealias HostPlatform = AArch64Platform
#endif

extension GuestArchitecture {
    /// That of the machines that this host can run: its own.
    public static var host: GuestArchitecture { HostPlatform.architecture }
}

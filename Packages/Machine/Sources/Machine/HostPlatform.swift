// The one place that chooses an architecture.
#if arch(x86_64)
    typealias HostPlatform = X86Platform
#endif

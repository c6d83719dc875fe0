extension VmConfig {
    /// What a block device reads and writes (`-drive`, QMP blockdev-add).
    public struct Drive: Equatable, Sendable {
        public enum AsyncIO: Equatable, Sendable {
            /// The user named none: io_uring where the host has it, else threads.
            case automatic
            /// Linux AIO. Only with `isDirect`.
            case native
            case ioUring
            case threads
            /// One thread, one request at a time. Only without `isDirect`.
            case off

            /// As the command line has it; that of `automatic` is never seen by anybody.
            public var name: String {
                switch self {
                case .automatic: "auto"
                case .native: "native"
                case .ioUring: "io_uring"
                case .threads: "threads"
                case .off: "off"
                }
            }
        }

        /// What becomes of writes of zeros.
        public enum ZeroDetection: String, Equatable, Sendable {
            case off, on
            /// As `on`; where `discards` is set they also free the file's space.
            case unmap
        }

        public var id: String
        /// A raw image: regular file or block device.
        public var file: String
        public var isReadOnly = false
        /// Bypass the host's page cache (O_DIRECT).
        public var isDirect = true
        public var asyncIO = AsyncIO.automatic
        /// The guest's discards and writes of zeroes are passed to the file.
        public var discards = false
        public var zeroDetection = ZeroDetection.off
        /// Each write is stable before the guest is told that it has ended: the guest sees a disk without a cache.
        public var writesThrough = false
        /// The guest's flushes do nothing.
        public var ignoresFlushes = false
        public var throttle = Throttle()

        public init(id: String, file: String) {
            self.id = id
            self.file = file
        }
    }
}

extension VmConfig {
    /// What a block device reads and writes (`-drive`, QMP blockdev-add).
    public struct Drive: Equatable, Sendable {
        public enum AsyncIO: Equatable, Sendable {
            /// The user named none: io_uring where the host has it, else threads.
            case automatic
            /// As `automatic`. Only with `isDirect`.
            case native
            case ioUring
            case threads
            /// As `threads`. Only without `isDirect`.
            case off
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
        /// Most requests a second, 1 to 1,000,000; nil for no limit.
        public var iopsLimit: UInt32?

        public init(id: String, file: String) {
            self.id = id
            self.file = file
        }
    }
}

extension VmConfig {
    /// An address of a stream socket.
    public enum SocketAddress: Equatable, Sendable {
        case unix(path: String)
        /// `host` is a numeric IPv4 address.
        case tcp(host: String, port: UInt16)
    }

    /// Where QMP listens.
    public typealias MonitorAddress = SocketAddress

    /// What is behind a console or a serial port.
    public struct Chardev: Equatable, Sendable {
        public enum Backend: Equatable, Sendable {
            case stdio
            case pty
            /// Output only.
            case file(path: String)
            case socket(Socket)
            /// Output only: lines of the program's log.
            case redirectToLog
        }

        public struct Socket: Equatable, Sendable {
            public var address: SocketAddress
            /// Listens and does not wait for its client; else it connects.
            public var isServer: Bool

            public init(address: SocketAddress, isServer: Bool) {
                self.address = address
                self.isServer = isServer
            }
        }

        /// `serial_chardev` for one that `-serial` made.
        public var id: String
        public var backend: Backend

        public init(id: String, backend: Backend) {
            self.id = id
            self.backend = backend
        }
    }
}

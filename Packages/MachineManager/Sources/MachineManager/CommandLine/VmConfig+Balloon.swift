extension VmConfig {
    /// At most one.
    public struct VirtioBalloon: Equatable, Sendable {
        /// The balloon follows the guest's need.
        public struct Auto: Equatable, Sendable {
            /// 20 to 80: percent of what the guest could spare that stays with it.
            public var bufferPercent: UInt32
            /// Seconds between two looks, 5 to 300.
            public var interval: UInt32

            public init(bufferPercent: UInt32 = 50, interval: UInt32 = 10) {
                self.bufferPercent = bufferPercent
                self.interval = interval
            }
        }

        public var id: String
        /// A guest that runs out of memory takes pages out of the balloon by itself.
        public var deflatesOnOOM = false
        /// The guest tells which pages are free, and the host takes them back.
        public var reportsFreePages = false
        public var auto: Auto?

        public init(id: String) { self.id = id }
    }
}

extension VmConfig.VirtioBalloon {
    init(_ list: ParameterList, id: String) {
        self.init(id: id)
        deflatesOnOOM = list.bool("deflate-on-oom", default: false)
        reportsFreePages = list.bool("free-page-reporting", default: false)
        guard list.bool("auto-balloon", default: false) else { return }
        var auto = Auto()
        if let percent = list.number("membuf-percent") { auto.bufferPercent = UInt32(clamping: percent) }
        if let seconds = list.number("monitor-interval") { auto.interval = UInt32(clamping: seconds) }
        self.auto = auto
    }
}

internal import BlockBackend
internal import MachineManager

extension RawImageOptions {
    /// What `-drive` or blockdev-add says.
    init(_ drive: VmConfig.Drive) {
        let engine: Engine =
            switch drive.asyncIO {
            case .automatic: .auto
            case .ioUring: .ioUring
            case .threads: .threads
            case .native: .native
            case .off: .off
            }
        let zeroDetection: ZeroDetection =
            switch drive.zeroDetection {
            case .off: .off
            case .on: .on
            case .unmap: .unmap
            }
        self.init(
            path: drive.file, readOnly: drive.isReadOnly, direct: drive.isDirect, engine: engine, discard: drive.discards, zeroDetection: zeroDetection,
            ignoresFlushes: drive.ignoresFlushes, throttle: ThrottleLimits(drive.throttle))
    }
}

extension ThrottleLimits {
    init(_ throttle: VmConfig.Throttle) {
        func rate(_ limit: VmConfig.Throttle.Limit) -> Rate {
            Rate(average: throttle[limit].average, burst: throttle[limit].burst, burstSeconds: throttle[limit].burstSeconds)
        }
        self.init(
            requests: Rates(total: rate(.requestsTotal), read: rate(.requestsRead), write: rate(.requestsWrite)),
            bytes: Rates(total: rate(.bytesTotal), read: rate(.bytesRead), write: rate(.bytesWrite)), requestSize: throttle.requestSize)
    }
}

extension VmConfig.Drive.AsyncIO {
    /// Who serves an image.
    init(_ engine: RawImageOptions.Engine) {
        self =
            switch engine {
            case .auto: .automatic
            case .ioUring: .ioUring
            case .threads: .threads
            case .native: .native
            case .off: .off
            }
    }
}

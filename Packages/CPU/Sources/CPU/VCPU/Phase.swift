/// The value of a vCPU's wait word: its state, and what is asked of it.
///
///     created -> running -> pausing -> paused -> running     (start; pause asks; the thread agrees; resume)
///     pausing -> running                                     (resume before the thread agreed)
///     created -> stopped;  every other -> stopping -> stopped
enum Phase: UInt32 {
    case created, running, pausing, paused, stopping, stopped

    init(_ value: UInt32) { self = Phase(rawValue: value) ?? .stopped }

    var state: VCPUState {
        switch self {
        case .created: .created
        case .running, .pausing: .running
        case .paused: .paused
        case .stopping: .stopping
        case .stopped: .stopped
        }
    }
}

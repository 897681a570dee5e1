package play

const windows = true

/** What the views and the commands say, in Chinese. tests/unit/test_language.py says what is missing. */
export const CHINESE = {};
